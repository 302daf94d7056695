package customer

import (
	"log/slog"
	"sync"
	"time"
)

// The tags this package gives.
const (
	Tag           = "Sitoo"      // everyone we write
	NewsletterTag = "Newsletter" // those who accept marketing
)

// Service does what a cashier asks for. It is safe for concurrent use and
// lives as long as the process.
type Service struct {
	Phones Phones // nil in functions that never read a number from outside
	Log    *slog.Logger
	Now    func() time.Time

	found  recent
	mu     sync.Mutex
	groups map[string]cachedGroups
}

// inParallel runs all functions and returns their first error.
func inParallel(fns ...func() error) error {
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { errs[i] = fn() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
