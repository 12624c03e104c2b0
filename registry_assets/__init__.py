"""What runs, and when: the assets, checks, sensors and schedules, and the job logic they are thin faces on.

Nothing else imports dagster, except the resource classes of `registry_resources`.
"""
