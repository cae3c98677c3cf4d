"""oaq for AArch64, built and run on another machine: a cross build, and an emulator of several CPUs."""
