"""How spans get out: Phoenix's rows in Postgres, as Phoenix's own ingestion would write them."""
