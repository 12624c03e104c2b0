"""An invented Scrapy project for a real Scrapyd, which logs and writes as Kingfisher Collect does."""
