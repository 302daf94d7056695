package fakesitoo

import (
	"encoding/json"
	"time"
)

// What an Audited order is.
const (
	Purchase  = "purchase"
	Return    = "return"
	Open      = "open"
	Cancelled = "cancelled"
	Abandoned = "abandoned"
	Booking   = "booking"
	Parked    = "parked"
)

// Audited is one order as an auditor needs it.
type Audited struct {
	ID, Site             int64
	Date                 time.Time // UTC
	State, Payment, Type int
	// Kind is Purchase or Return for an order that is closed, else what keeps it
	// from being one. Of an exchange one half is each.
	Kind string
	Till bool // made at a till; false for a web order
	// ContactID is what customcrm-contactid says. It, Email and Phone are "" in
	// an order that does not say.
	ContactID, Email, Phone string
	Credits                 int64  // the order that this one gives back, 0 for none
	Total                   string // as moneytotal_gross_all has it
}

// Audit returns all orders as they are now, ascending by id. An order that was
// added shows what can be read of it.
func (s *Server) Audit() []Audited {
	s.books.RLock()
	defer s.books.RUnlock()
	all := make([]Audited, len(s.book.entries))
	for i := range s.book.entries {
		e := &s.book.entries[i]
		a := &all[i]
		*a = Audited{
			ID: e.id, Site: e.eshopID, Date: time.Unix(e.date, 0).UTC(),
			State: int(e.state), Payment: int(e.payment), Type: int(e.kind), Email: e.email, Credits: e.credits,
		}
		if e.added != nil {
			a.readAdded(e.added)
		} else {
			o := s.book.order(*e)
			a.Till, a.Phone, a.ContactID = o.register != nil, o.customer.Phone, o.additional["customcrm-contactid"]
			a.Total = string(appendFixed(nil, int64(o.gross()+o.roundoff), 2))
		}
		a.Kind = e.what(a.Total)
	}
	return all
}

// readAdded takes what an entry has not from an order that was added. A member
// of another type than expected is left out.
func (a *Audited) readAdded(o object) {
	for _, m := range o {
		raw, _ := m.value.(json.RawMessage)
		var text string
		switch m.name {
		case "registerid":
			a.Till = json.Unmarshal(raw, &text) == nil && text != ""
		case "phone":
			_ = json.Unmarshal(raw, &a.Phone)
		case "moneytotal_gross_all":
			_ = json.Unmarshal(raw, &a.Total)
		case "additionaldata":
			var all map[string]any
			_ = json.Unmarshal(raw, &all)
			a.ContactID, _ = all["customcrm-contactid"].(string)
		}
	}
}

// what says what an order of some total is.
func (e *entry) what(total string) string {
	switch {
	case e.kind == 100:
		return Booking
	case e.kind == 110:
		return Parked
	case e.state == stateOpen:
		return Open
	case e.state == stateCancelled:
		return Cancelled
	case e.state == -1:
		return Abandoned
	case e.credits != 0 || total != "" && total[0] == '-':
		return Return
	default:
		return Purchase
	}
}
