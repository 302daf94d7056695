package rule

import (
	"context"
	"net/http"
)

// Delete removes a subscriber for good, with all that Rule knows of it. It may
// be repeated; fault.NotFound if there is none, or not any more.
func (s *Session) Delete(ctx context.Context, who Identifier) error {
	return s.do(ctx, call{method: http.MethodDelete, path: who.path("/v2/subscribers/%s"), query: who.query(), repeats: true})
}
