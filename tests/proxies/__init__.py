"""Through real proxies, and over networks that are half dead (tox -e proxies)."""
