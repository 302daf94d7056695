package templatetest_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// budget is how long a handler of the API takes at the most, patience how long
// Sitoo waits (contract sitoo-spi.md, section 0), fileBudget how long the check
// of a file or of the set-up may take, and gatewayWait how long API Gateway waits
// for a function, all in seconds.
const (
	budget      = 8
	patience    = 10
	fileBudget  = 25
	gatewayWait = 29
)

// noTill are the functions of the API that no till calls and that may take
// longer than one waits: whoever sends a whole file, or tries every flow, waits
// for it.
var noTill = map[string]bool{"BonuscheckImport": true, "SetupCheck": true}

func TestRoutes(t *testing.T) {
	t.Parallel()
	top := load(t)
	want := map[string]string{
		"GET /sitoo/contacts":                          "ContactFind",
		"POST /sitoo/contacts":                         "ContactAdd",
		"GET /sitoo/contacts/{contactid}":              "ContactGet",
		"PUT /sitoo/contacts/{contactid}":              "ContactUpdate",
		"GET /sitoo/contacts/{contactid}/transactions": "PurchaseList",
		"GET /sitoo/lookup_contacts":                   "ContactLookup",
		"GET /sitoo/consents":                          "ConsentList",
		"POST /sitoo/transactions":                     "OrderReceive",

		"POST /sitoo/contacts/{contactid}/bonuschecks/{bonuscheckid}/redeem":   "BonuscheckRedeem",
		"PUT /sitoo/contacts/{contactid}/bonuschecks/{bonuscheckid}/redeem":    "BonuscheckRedeem",
		"DELETE /sitoo/contacts/{contactid}/bonuschecks/{bonuscheckid}/redeem": "BonuscheckRestore",
		"POST /sitoo/contacts/{contactid}/promotions/{promotionid}/redeem":     "BonuscheckRedeem",
		"PUT /sitoo/contacts/{contactid}/promotions/{promotionid}/redeem":      "BonuscheckRedeem",
		"DELETE /sitoo/contacts/{contactid}/promotions/{promotionid}/redeem":   "BonuscheckRestore",

		"POST /sitoo/bonuschecks":                   "BonuscheckImport",
		"GET /sitoo/bonuschecks/imports":            "BonuscheckImportStatus",
		"GET /sitoo/bonuschecks/imports/{importid}": "BonuscheckImportStatus",

		"PUT /sitoo/credentials":                    "CredentialsPut",
		"GET /sitoo/credentials":                    "CredentialsGet",
		"DELETE /sitoo/credentials":                 "CredentialsDelete",
		"GET /sitoo/setup":                          "SetupCheck",
		"GET /sitoo/backfills":                      "BackfillList",
		"GET /sitoo/keys":                           "KeyList",
		"DELETE /sitoo/keys/{keyid}":                "KeyDrop",
		"GET /sitoo/backfills/{backfillid}":         "BackfillList",
		"POST /sitoo/backfills/{backfillid}/pause":  "BackfillControl",
		"POST /sitoo/backfills/{backfillid}/resume": "BackfillControl",
		"POST /sitoo/backfills/{backfillid}/cancel": "BackfillControl",

		"ANY /sitoo":          "UnknownRoute",
		"ANY /sitoo/{proxy+}": "UnknownRoute",
	}
	// A wrong method on a path that exists is an unknown route as well, and so is
	// whatever is asked for on the way there: API Gateway makes a resource of each
	// part of a path, which need not leave it to the greedy one.
	for route := range maps.Clone(want) {
		_, path, _ := strings.Cut(route, " ")
		for ; path != ""; path = path[:strings.LastIndex(path, "/")] {
			want["ANY "+path] = "UnknownRoute"
		}
	}
	got := map[string]string{}
	for _, e := range events(t, top) {
		switch e.kind {
		case "Api":
			route := textAt(e.body, "Method") + " " + textAt(e.body, "Path")
			if before, twice := got[route]; twice {
				t.Errorf("%s belongs to both %s and %s", route, before, e.function.id)
			}
			got[route] = e.function.id
			if e.body["RestApiId"] != nil {
				t.Errorf("%s names an API: only the implicit one has the gateway responses", route)
			}
		case "SQS":
		default:
			t.Errorf("%s: event %s is of type %q, want Api or SQS", e.function.id, e.name, e.kind)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	top := load(t)
	roles := map[string]string{}
	logs := map[string]string{}
	for _, f := range functions(t, top) {
		if got := textAt(f.body, "Metadata", "BuildMethod"); got != "makefile" {
			t.Errorf("%s: BuildMethod %q, want makefile", f.id, got)
		}
		for name, want := range map[string]string{"CodeUri": ".", "Handler": "bootstrap", "Runtime": "provided.al2023"} {
			if got := setting(top, f, name); got != want {
				t.Errorf("%s: %s %v, want %s", f.id, name, got, want)
			}
		}
		architectures, _ := setting(top, f, "Architectures").([]any)
		if len(architectures) != 1 || at(top, "Parameters", target(architectures[0]), "Default") != "arm64" {
			t.Errorf("%s: architectures %v, want one that is arm64 by default", f.id, architectures)
		}
		if got := number(top, setting(top, f, "MemorySize")); got < 256 {
			t.Errorf("%s: %d MB, want 256 at the least: the processor's share follows it", f.id, got)
		}
		if v := f.at("ReservedConcurrentExecutions"); v != nil {
			t.Errorf("%s: reserved concurrency %v, want none", f.id, v)
		}
		if f.at("Policies") != nil {
			t.Errorf("%s: has Policies beside its role; SAM ignores them", f.id)
		}

		role := target(f.at("Role"))
		if textAt(top, "Resources", role, "Type") != "AWS::IAM::Role" {
			t.Errorf("%s: role %q is not in the template", f.id, role)
		}
		if other, shared := roles[role]; shared {
			t.Errorf("%s shares its role with %s", f.id, other)
		}
		roles[role] = f.id

		group := target(f.at("LoggingConfig", "LogGroup"))
		if textAt(top, "Resources", group, "Type") != "AWS::Logs::LogGroup" {
			t.Errorf("%s: log group %q is not in the template", f.id, group)
		}
		if days := number(top, at(top, "Resources", group, "Properties", "RetentionInDays")); days < 1 {
			t.Errorf("%s: its log is kept for ever", f.id)
		}
		if other, shared := logs[group]; shared {
			t.Errorf("%s shares its log group with %s", f.id, other)
		}
		logs[group] = f.id
		if got := setting(top, f, "LoggingConfig", "LogFormat"); got != "JSON" {
			t.Errorf("%s: log format %v, want JSON", f.id, got)
		}

		env := environment(top, f)
		if len(env) > 0 && (env["SSL_CERT_FILE"] == nil || env["SSL_CERT_DIR"] == nil) {
			t.Errorf("%s makes TLS connections and parses every copy of the CA bundle", f.id)
		}
	}
	for _, e := range events(t, top) {
		seconds := number(top, setting(top, e.function, "Timeout"))
		switch {
		case e.kind != "Api":
		case noTill[e.function.id] && (seconds <= fileBudget || seconds > gatewayWait):
			t.Errorf("%s: time-out %d s, want more than the handler's %d s, and no more than the %d s of API Gateway", e.function.id, seconds, fileBudget, gatewayWait)
		case !noTill[e.function.id] && (seconds <= budget || seconds >= patience):
			t.Errorf("%s: time-out %d s, want between the handler's %d s and Sitoo's %d s", e.function.id, seconds, budget, patience)
		}
	}
}

// TestFolders compares the three places that name a function.
func TestFolders(t *testing.T) {
	t.Parallel()
	top := load(t)
	words := regexp.MustCompile(`[A-Z][a-z0-9]*`)
	var declared []string
	for _, f := range functions(t, top) {
		declared = append(declared, strings.ToLower(strings.Join(words.FindAllString(f.id, -1), "-")))
	}
	for parent, inside := range map[string]string{"functions": "main.go", "events": "*.json"} {
		entries, err := os.ReadDir(filepath.Join(root, parent))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			found = append(found, e.Name())
			files, err := filepath.Glob(filepath.Join(root, parent, e.Name(), inside))
			if err != nil || len(files) == 0 {
				t.Errorf("%s/%s has no %s (%v)", parent, e.Name(), inside, err)
			}
		}
		slices.Sort(declared)
		if diff := cmp.Diff(declared, found); diff != "" {
			t.Errorf("functions of the template against %s/ (-template +folder):\n%s", parent, diff)
		}
	}
}

// TestPolicies holds every role to exact resources and actions, and to what
// the function knows of: a permission without the matching environment
// variable is one that cannot be used, and the other way round.
func TestPolicies(t *testing.T) {
	t.Parallel()
	top := load(t)
	action := regexp.MustCompile(`^[a-z]+:[A-Z][A-Za-z]+$`)
	for _, f := range functions(t, top) {
		role := objectAt(top, "Resources", target(f.at("Role")), "Properties")
		if role["ManagedPolicyArns"] != nil {
			t.Errorf("%s: managed policies reach resources of others", f.id)
		}
		granted := map[string]bool{}
		for _, policy := range listAt(role, "Policies") {
			for _, s := range listAt(policy, "PolicyDocument", "Statement") {
				to := target(at(s, "Resource"))
				if objectAt(top, "Resources", to) == nil {
					t.Errorf("%s: resource %v, want one of the template's by !GetAtt", f.id, at(s, "Resource"))
				}
				granted[to] = true
				actions := listAt(s, "Action")
				if len(actions) == 0 || at(s, "Effect") != "Allow" || at(s, "NotAction") != nil {
					t.Errorf("%s: statement %v, want a list of allowed actions", f.id, s)
				}
				for _, a := range actions {
					name, _ := a.(string)
					if !action.MatchString(name) {
						t.Errorf("%s: action %v, want an exact one", f.id, a)
					}
					if strings.HasPrefix(name, "kms:") && at(s, "Condition", "Null", "kms:EncryptionContext:account") != "false" {
						t.Errorf("%s: %s is allowed without the account in the encryption context", f.id, name)
					}
				}
			}
		}
		known := map[string]bool{target(f.at("LoggingConfig", "LogGroup")): true}
		for _, v := range environment(top, f) {
			if id := target(v); objectAt(top, "Resources", id) != nil {
				known[id] = true
			}
		}
		if diff := cmp.Diff(known, granted); diff != "" {
			t.Errorf("%s: resources in its environment against those in its policy (-environment +policy):\n%s", f.id, diff)
		}
	}
}

// TestActions pins who may do what, so that a wider policy is a decision.
func TestActions(t *testing.T) {
	t.Parallel()
	top := load(t)
	registry := []string{"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"} // a till's call can make the account
	logs := []string{"logs:CreateLogStream", "logs:PutLogEvents"}
	shop := map[string][]string{"AccountsTable": registry, "SecretsKey": {"kms:Encrypt"}}
	with := func(what, more map[string][]string) map[string][]string {
		all := maps.Clone(what)
		maps.Copy(all, more)
		return all
	}
	// A worker finds the account, and notes Rule's blocks there.
	backroom := map[string][]string{"AccountsTable": {"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"}, "SecretsKey": {"kms:Decrypt"}}
	polls := []string{"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}
	card := with(shop, map[string][]string{"BonusTable": {"dynamodb:GetItem"}})
	books := []string{"dynamodb:GetItem", "dynamodb:UpdateItem"}
	redeem := with(shop, map[string][]string{"BonusTable": books, "BonusQueue": {"sqs:SendMessage"}})
	// What reads a shop's credentials for Sitoo opens their seal, while a till's
	// call needs no more than to seal a key that is new.
	opens := with(shop, map[string][]string{"SecretsKey": {"kms:Decrypt", "kms:Encrypt"}})
	jobs := []string{"dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"}
	answers := []string{"dynamodb:GetItem", "dynamodb:UpdateItem"}
	want := map[string]map[string][]string{
		"ContactFind":   card,
		"ContactGet":    card,
		"ContactAdd":    with(shop, map[string][]string{"ConsentsTable": {"dynamodb:UpdateItem"}, "BonusQueue": {"sqs:SendMessage"}}),
		"ContactUpdate": with(shop, map[string][]string{"ConsentsTable": answers, "BonusQueue": {"sqs:SendMessage"}}),
		"ContactLookup": shop,
		"ConsentList":   shop,
		"PurchaseList":  shop,
		"OrderReceive": with(shop, map[string][]string{
			"LedgerTable": {"dynamodb:UpdateItem"}, "OrdersQueue": {"sqs:SendMessage"}, "ParkedTable": {"dynamodb:PutItem"},
		}),
		"OrderWorker": with(backroom, map[string][]string{
			"LedgerTable": {"dynamodb:GetItem", "dynamodb:UpdateItem"},
			"OrdersQueue": append(slices.Clone(polls), "sqs:SendMessage"), "OrdersDeadLetters": {"sqs:SendMessage"},
			"BonusTable": books, "BonusQueue": {"sqs:SendMessage"}, "ConsentsTable": answers,
			// What it parks it seals.
			"ParkedTable": {"dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"}, "SecretsKey": {"kms:Decrypt", "kms:Encrypt"},
		}),
		"BonuscheckRedeem":  redeem,
		"BonuscheckRestore": redeem,
		"BonuscheckImport": with(shop, map[string][]string{
			"ImportsTable": {"dynamodb:PutItem", "dynamodb:UpdateItem"}, "ImportsQueue": {"sqs:SendMessage"},
		}),
		"BonuscheckImportStatus": with(shop, map[string][]string{"ImportsTable": {"dynamodb:Query"}}),
		"BonuscheckImportWorker": with(backroom, map[string][]string{
			"BonusTable": books, "ImportsTable": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"},
			"ImportsQueue": polls, "ImportsDeadLetters": {"sqs:SendMessage"},
		}),
		"BonuscheckSyncWorker": with(backroom, map[string][]string{
			"BonusTable": books, "BonusQueue": append(slices.Clone(polls), "sqs:SendMessage"), "BonusDeadLetters": {"sqs:SendMessage"},
		}),
		"CredentialsPut":    opens,
		"CredentialsGet":    shop,
		"CredentialsDelete": shop,
		"KeyList":           with(shop, map[string][]string{"ParkedTable": {"dynamodb:Query"}}),
		"KeyDrop":           opens,
		"SetupCheck":        with(opens, map[string][]string{"ConsentsTable": {"dynamodb:Query"}}),
		"BackfillList":      with(shop, map[string][]string{"HistoryTable": {"dynamodb:GetItem", "dynamodb:Query"}}),
		"BackfillControl":   with(shop, map[string][]string{"HistoryTable": jobs, "BackfillQueue": {"sqs:SendMessage"}}),
		// It posts its own next step.
		"BackfillWorker": with(backroom, map[string][]string{
			"HistoryTable": append([]string{"dynamodb:DeleteItem"}, jobs...), "BackfillQueue": append(slices.Clone(polls), "sqs:SendMessage"),
			"BackfillDeadLetters": {"sqs:SendMessage"}, "HistoryQueue": {"sqs:SendMessage"},
			"LedgerTable": {"dynamodb:GetItem"}, // for dry runs
		}),
		"HistoryWorker": with(backroom, map[string][]string{
			"HistoryTable": {"dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"},
			"LedgerTable":  {"dynamodb:GetItem", "dynamodb:UpdateItem"},
			"HistoryQueue": polls, "HistoryDeadLetters": {"sqs:SendMessage"}, "BackfillQueue": {"sqs:SendMessage"},
			"BonusTable": books, "BonusQueue": {"sqs:SendMessage"}, "ConsentsTable": answers,
		}),
		"UnknownRoute": {"AccountsTable": {"dynamodb:GetItem"}},
	}
	got := map[string]map[string][]string{}
	for _, f := range functions(t, top) {
		got[f.id] = map[string][]string{}
		for _, policy := range listAt(top, "Resources", target(f.at("Role")), "Properties", "Policies") {
			for _, s := range listAt(policy, "PolicyDocument", "Statement") {
				to := target(at(s, "Resource"))
				actions := texts(at(s, "Action"))
				slices.Sort(actions)
				if to == f.id+"Logs" {
					if diff := cmp.Diff(logs, actions); diff != "" {
						t.Errorf("%s: logs (-want +got):\n%s", f.id, diff)
					}
					continue
				}
				got[f.id][to] = append(got[f.id][to], actions...)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
}

// TestLeadingKeys holds every write to the accounts table to the kinds of items
// that the function is for: a till's function writes nothing of credentials, of
// whose a shop is, and of settings.
func TestLeadingKeys(t *testing.T) {
	t.Parallel()
	top := load(t)
	till := []string{"account#*", "key#*", "refused#*", "budget#*"}
	worker := []string{"account#*", "key#*"}
	want := map[string][]string{
		"SetupCheck": append(slices.Clone(till), "sitoo#*"), "BackfillWorker": append(slices.Clone(worker), "sitoo#*"),
		"CredentialsPut":    append(slices.Clone(till), "sitoo#*", "shop#*", "attempts#*"),
		"CredentialsDelete": append(slices.Clone(till), "sitoo#*", "shop#*"),
	}
	for _, f := range functions(t, top) {
		for _, policy := range listAt(top, "Resources", target(f.at("Role")), "Properties", "Policies") {
			for _, s := range listAt(policy, "PolicyDocument", "Statement") {
				if target(at(s, "Resource")) != "AccountsTable" {
					continue
				}
				writes := slices.ContainsFunc(texts(at(s, "Action")), func(a string) bool { return !strings.Contains(a, "Get") })
				expected := want[f.id]
				switch {
				case !writes:
					expected = nil
				case expected == nil && strings.HasSuffix(f.id, "Worker"):
					expected = worker
				case expected == nil:
					expected = till
				}
				var got []string
				if keys := at(s, "Condition", "ForAllValues:StringLike", "dynamodb:LeadingKeys"); keys != nil {
					got = texts(keys)
				}
				if diff := cmp.Diff(expected, got); diff != "" {
					t.Errorf("%s: keys of the items that it may write (-want +got):\n%s", f.id, diff)
				}
			}
		}
	}
}

// TestTableActions compares what the roles may do with a table, all together,
// with the requests that the table's adapter makes: an emulator refuses none.
func TestTableActions(t *testing.T) {
	t.Parallel()
	top := load(t)
	request := regexp.MustCompile(`\.client\.(\w+)\(`)
	for table, files := range map[string][]string{
		"AccountsTable": {"accounts.go", "shops.go"}, "LedgerTable": {"ledger.go"}, "BonusTable": {"bonus.go"}, "ImportsTable": {"imports.go"},
		"HistoryTable": {"history.go"}, "ParkedTable": {"parked.go"}, "ConsentsTable": {"consents.go"},
	} {
		var source []byte
		for _, file := range files {
			more, err := os.ReadFile(filepath.Join(root, "shared/dynamo", file))
			if err != nil {
				t.Fatal(err)
			}
			source = append(source, more...)
		}
		makes, granted := map[string]bool{}, map[string]bool{}
		for _, m := range request.FindAllStringSubmatch(string(source), -1) {
			makes["dynamodb:"+m[1]] = true
		}
		for _, f := range functions(t, top) {
			for _, policy := range listAt(top, "Resources", target(f.at("Role")), "Properties", "Policies") {
				for _, s := range listAt(policy, "PolicyDocument", "Statement") {
					if target(at(s, "Resource")) != table {
						continue
					}
					for _, action := range texts(at(s, "Action")) {
						granted[action] = true
					}
				}
			}
		}
		if diff := cmp.Diff(makes, granted); diff != "" {
			t.Errorf("%s (-%v +policies):\n%s", table, files, diff)
		}
	}
}

// TestAnyHost: who may enter credentials could make a function call any address
// that it reaches, inside AWS too, but for the parameter that is for local use.
func TestAnyHost(t *testing.T) {
	t.Parallel()
	top := load(t)
	if got := at(top, "Parameters", "SitooAnyHost", "Default"); got != "false" {
		t.Errorf("SitooAnyHost is %v by default, want false", got)
	}
	if about := textAt(top, "Parameters", "SitooAnyHost", "Description"); !strings.Contains(about, "local use only") {
		t.Errorf("SitooAnyHost is described as %q, want that it is for local use only", about)
	}
	// Those that speak to Sitoo.
	want := map[string]any{}
	for _, id := range []string{"CredentialsPut", "SetupCheck", "BackfillWorker"} {
		want[id] = object{"Ref": "SitooAnyHost"}
	}
	got := map[string]any{}
	for _, f := range functions(t, top) {
		if v := environment(top, f)["SITOO_ANY_HOST"]; v != nil {
			got[f.id] = v
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("SITOO_ANY_HOST (-want +got):\n%s", diff)
	}
	stages, err := os.ReadFile(filepath.Join(root, "samconfig.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(stages), "SitooAnyHost") {
		t.Error("samconfig.toml sets SitooAnyHost, which is not for AWS")
	}
}

// TestRecursion: Lambda stops a message that a function posts to a queue which
// leads back to it, when it has gone round 16 times; a backfill's does so
// thousands of times.
func TestRecursion(t *testing.T) {
	t.Parallel()
	top := load(t)
	works := map[string]string{} // queue to function
	for _, e := range events(t, top) {
		if e.kind == "SQS" {
			works[target(e.body["Queue"])] = e.function.id
		}
	}
	posts := map[string][]string{} // function to functions
	for _, f := range functions(t, top) {
		for _, policy := range listAt(top, "Resources", target(f.at("Role")), "Properties", "Policies") {
			for _, s := range listAt(policy, "PolicyDocument", "Statement") {
				if to := works[target(at(s, "Resource"))]; to != "" && slices.Contains(texts(at(s, "Action")), "sqs:SendMessage") {
					posts[f.id] = append(posts[f.id], to)
				}
			}
		}
	}
	returns := 0
	for _, f := range functions(t, top) {
		seen := map[string]bool{}
		open := slices.Clone(posts[f.id])
		for len(open) > 0 {
			next := open[0]
			open = open[1:]
			if !seen[next] {
				seen[next] = true
				open = append(open, posts[next]...)
			}
		}
		want := any(nil)
		if seen[f.id] {
			want = "Allow"
			returns++
		}
		if got := f.at("RecursiveLoop"); got != want {
			t.Errorf("%s: RecursiveLoop %v, want %v: what it posts comes back to it: %v", f.id, got, want, seen[f.id])
		}
	}
	if returns < 2 {
		t.Errorf("%d functions post what comes back to them, want backfill-worker and history-worker at the least", returns)
	}
}
