package zone_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the Go release's time zones, also where the machine has none

	"sitoo-rule/shared/zone"
)

// The embedded time zone is the one of the Go release in use. If it is not, take
// Europe/Stockholm from $(go env GOROOT)/lib/time/zoneinfo.zip as stockholm.tzif.
func TestStockholm(t *testing.T) {
	t.Parallel()
	want, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	for at := time.Date(1990, 1, 1, 0, 30, 0, 0, time.UTC); at.Year() < 2060; at = at.Add(6 * time.Hour) {
		if g, w := at.In(zone.Stockholm).Format(time.RFC3339), at.In(want).Format(time.RFC3339); g != w {
			t.Fatalf("%s is %s in Stockholm, want %s", at, g, w)
		}
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Europe/Oslo": "Europe/Oslo", " Asia/Tokyo ": "Asia/Tokyo", "UTC": "UTC", "": "Europe/Stockholm", "Local": "Europe/Stockholm",
		"Mars/Olympus": "Europe/Stockholm", "../../etc/passwd": "Europe/Stockholm", "W. Europe Standard Time": "Europe/Stockholm",
	} {
		if got := zone.Named(name).String(); got != want {
			t.Errorf("%q is %s, want %s", name, got, want)
		}
	}
}
