"""Pure loss functions that several papers share."""
