"""Collecting: the backends that run crawls, and the one reader of crawl logs."""
