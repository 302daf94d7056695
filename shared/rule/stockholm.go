package rule

import (
	_ "embed" // for the time zone
	"time"
)

// stockholm is Europe/Stockholm of the IANA time zone database, which is in the
// public domain. Lambda's image has no time zones, and all of them (time/tzdata)
// would make each function 0.4 MB larger. A test compares it with those of the
// Go release, and says how to renew it.
//
//go:embed stockholm.tzif
var stockholm []byte

// Stockholm is the time zone of Rule's clock: timestamps without a zone, in
// fields and in Retry-After, are local there.
var Stockholm = mustLoad(stockholm)

func mustLoad(data []byte) *time.Location {
	l, err := time.LoadLocationFromTZData("Europe/Stockholm", data)
	if err != nil {
		panic(err) // cannot happen: the file is part of the program
	}
	return l
}
