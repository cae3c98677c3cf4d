"""The command ``oaq``: one file per verb, nothing but arguments in and words out."""
