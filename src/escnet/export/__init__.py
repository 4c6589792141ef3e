"""Networks written as graphs that other runtimes compute, with the class names still free."""
