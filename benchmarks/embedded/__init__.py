"""Programs of ``oaq export --c`` on other machines."""
