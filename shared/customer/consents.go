package customer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// half marks a failure after the customer was saved: asking again completes it.
func half(err error) error {
	if err == nil {
		return nil
	}
	if k := fault.KindOf(err); k == fault.Unauthorized || k == fault.Busy {
		return err
	}
	return fault.Say(fault.Unavailable, "half_saved").With(err)
}

// Consent is a topic that a customer can accept.
type Consent struct {
	ID, Name, Description string
	Default               bool // ticked for a new customer
}

// ConsentList returns the account's topics, none if Rule's preferences are not
// used.
func (s *Service) ConsentList(ctx context.Context, r *rule.Session, account string) ([]Consent, error) {
	groups, err := s.preferenceGroups(ctx, r, account)
	if err != nil {
		return nil, err
	}
	list := []Consent{}
	for _, g := range groups {
		for _, p := range g.Preferences {
			list = append(list, Consent{ID: strconv.FormatInt(p.ID, 10), Name: p.Name, Description: g.Name, Default: p.Default})
		}
	}
	return list, nil
}

// groupsFor is how long a process trusts an account's list of topics, which
// staff change a few times a year.
const groupsFor = 5 * time.Minute

type cachedGroups struct {
	list  []rule.PreferenceGroup
	until time.Time
}

func (s *Service) preferenceGroups(ctx context.Context, r *rule.Session, account string) ([]rule.PreferenceGroup, error) {
	s.mu.Lock()
	cached, ok := s.groups[account]
	s.mu.Unlock()
	if ok && s.Now().Before(cached.until) {
		return cached.list, nil
	}
	list, err := r.PreferenceGroups(ctx)
	// An account without the feature answers 404, or refuses (assumed).
	if e, ok := errors.AsType[*rule.Error](err); ok && (e.Status == 400 || e.Status == 403 || e.Status == 404) {
		list, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups == nil {
		s.groups = map[string]cachedGroups{}
	}
	s.groups[account] = cachedGroups{list, s.Now().Add(groupsFor)}
	return list, nil
}

// choices returns, by preference group, what changes between the consents that
// a till was shown and those it sends, and those that are accepted then. What did
// not change is not sent: the customer may have chosen otherwise since, on Rule's
// own page. A consent that the shop does not have is ignored, and the log says so.
func (s *Service) choices(ctx context.Context, r *rule.Session, account string, have, want []string) (byGroup map[int64]map[int64]bool, accepted []string, err error) {
	differs := map[string]bool{}
	for _, id := range want {
		if !slices.Contains(have, id) {
			differs[id] = true
		}
	}
	for _, id := range have {
		if !slices.Contains(want, id) {
			differs[id] = false
		}
	}
	if len(differs) == 0 {
		return nil, want, nil
	}
	groups, err := s.preferenceGroups(ctx, r, account)
	if err != nil {
		return nil, nil, err
	}
	byGroup, unknown := sortOut(differs, groups)
	if len(unknown) > 0 { // staff may have added it a moment ago
		s.mu.Lock()
		delete(s.groups, account)
		s.mu.Unlock()
		if groups, err = s.preferenceGroups(ctx, r, account); err != nil {
			return nil, nil, err
		}
		byGroup, unknown = sortOut(differs, groups)
	}
	if len(unknown) > 0 {
		s.Log.InfoContext(ctx, "consents that this shop does not have are ignored", "count", len(unknown))
	}
	accepted = slices.DeleteFunc(slices.Clone(want), func(id string) bool { return slices.Contains(unknown, id) })
	return byGroup, accepted, nil
}

// sortOut returns choices by the group that each consent is in. unknown are
// those that are accepted and in none of them; one that is gone cannot be
// withdrawn, and need not be.
func sortOut(differs map[string]bool, groups []rule.PreferenceGroup) (byGroup map[int64]map[int64]bool, unknown []string) {
	byGroup = map[int64]map[int64]bool{}
	left := maps.Clone(differs)
	for _, g := range groups {
		for _, p := range g.Preferences {
			id := strconv.FormatInt(p.ID, 10)
			if in, ok := left[id]; ok {
				if byGroup[g.ID] == nil {
					byGroup[g.ID] = map[int64]bool{}
				}
				byGroup[g.ID][p.ID] = in
				delete(left, id)
			}
		}
	}
	for id, in := range left {
		if in {
			unknown = append(unknown, id)
		}
	}
	return byGroup, unknown
}

// choose sends choices to Rule. chosen is true if there were any and Rule took
// them all: only then may they be noted as what the customer accepts.
func (s *Service) choose(ctx context.Context, r *rule.Session, id int64, choices map[int64]map[int64]bool) (chosen bool, err error) {
	chosen = len(choices) > 0
	for group, c := range choices {
		err := r.SetPreferences(ctx, id, group, c)
		if k := fault.KindOf(err); err != nil && (k == fault.Invalid || k == fault.NotFound || k == fault.Conflict) {
			// Somebody who has not confirmed the opt-in cannot have
			// preferences yet; that is Rule's rule, and trying again is no use.
			s.Log.WarnContext(ctx, "Rule refuses the consents", "subscriber", id, "error", err)
			chosen = false
			continue
		}
		if err != nil {
			return false, err
		}
	}
	return chosen, nil
}
