"""The terminal application: watches, scrubs, steers and audits runs, all out of the ledger."""
