package evaluator

// For the tests that need the package evaluator/prometheus, which imports this one.

type MemStore = memStore

var (
	NewMemStore = newMemStore
	Stored      = (*memStore).stored
	Told        = (*memStore).told
	Check       = (*memStore).check
)
