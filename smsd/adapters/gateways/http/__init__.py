"""Any HTTP provider, described in YAML: the description's model, what is made of it on the wire, and how receipts return.

`fields`, `templates`, `paths`, `presetfiles` and `description` say what a description may hold and import nothing but
the core and the configuration; the other modules act on it.
"""
