"""The domain: poses, orders, prices, the ledger, leases, storage, settings. No web, no torch."""
