"""The generic spiders: one for files and addresses of files, one for APIs that give a link to the next page."""
