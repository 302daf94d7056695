package rule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"sitoo-rule/shared/fault"
)

// Sender is the account in Rule that a key is of.
type Sender struct {
	Account string // Rule's number of it, in digits
	Name    string // of the company, may be empty
}

// ErrNoSender is in the error of Session.Sender where Rule does not tell the key
// whose it is (403 or 404): the key may be good all the same.
var ErrNoSender = errors.New("rule: the key may not read its account")

// maxName bounds a company's name.
const maxName = 200

// Sender asks Rule which account the key is of, at the cost of one request
// (assumed: GET /v2/sender/details answers account_id, a positive whole number,
// and company, as Rule's SDK has it). A bad key is fault.Unauthorized. An answer
// without a number settles nothing and is fault.Unavailable.
func (s *Session) Sender(ctx context.Context) (Sender, error) {
	var out struct {
		Account json.RawMessage `json:"account_id"`
		Company json.RawMessage `json:"company"`
		Name    json.RawMessage `json:"name"`
	}
	err := s.do(ctx, call{method: http.MethodGet, path: "/v2/sender/details", out: &out, repeats: true})
	if e, ok := errors.AsType[*Error](err); ok && (e.Status == http.StatusForbidden || e.Status == http.StatusNotFound) {
		return Sender{}, errors.Join(ErrNoSender, err)
	}
	if err != nil {
		return Sender{}, err
	}
	number := Value{out.Account}.Text()
	if id, err := strconv.ParseInt(number, 10, 64); err != nil || id <= 0 || strconv.FormatInt(id, 10) != number {
		return Sender{}, &fault.Error{Kind: fault.Unavailable, Err: &Error{
			What: "GET /v2/sender/details", Status: http.StatusOK, Text: "the answer has no account_id", ours: true,
		}}
	}
	name := strings.TrimSpace(Value{out.Company}.Text())
	if name == "" {
		name = strings.TrimSpace(Value{out.Name}.Text())
	}
	return Sender{Account: number, Name: cut(name, maxName)}, nil
}

// OnVerdict has f told of the first answer that shows that Rule accepts the key,
// and of each that refuses it. It is set before the session is used.
func (s *Session) OnVerdict(f func(ctx context.Context, accepted bool)) { s.verdict = f }

// Accepted reports whether an answer has shown that Rule accepts the key.
func (s *Session) Accepted() bool { return s.accepted.Load() }

// judge notes what an answer says of the key. What is neither success, a miss nor
// a duplicate could come from something that stands in front of Rule.
func (s *Session) judge(ctx context.Context, err error) {
	accepted := err == nil
	if err != nil {
		switch fault.KindOf(err) {
		case fault.NotFound, fault.Conflict:
			accepted = true
		case fault.Unauthorized:
		default:
			return
		}
	}
	if accepted && s.accepted.Swap(true) || s.verdict == nil {
		return
	}
	s.verdict(ctx, accepted)
}
