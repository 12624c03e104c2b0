"""The settings of the invented project."""

BOT_NAME = "acme_bot"
SPIDER_MODULES = ["acme_bot.spiders"]
TELNETCONSOLE_ENABLED = False
EXTENSIONS = {"acme_bot.store.Store": 100, "acme_bot.api.KingfisherProcessAPI2": 200}
