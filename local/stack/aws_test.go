package stack_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/stack"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/order"
)

// cloudRig is a shop with the real adapters.
type cloudRig struct {
	*rig
	worked chan struct{} // a worker has come to an end since this was read last
	name   string        // what its tables' and queues' names begin with
	sqs    *sqs.Client
}

// newCloudRig starts a shop on tables and queues of its own: what another test
// leaves on a queue would be worked against this one's Rule.
func newCloudRig(t *testing.T, cfg aws.Config, seeded bool) *cloudRig {
	t.Helper()
	return newCloudRigOf(t, cfg, options{seeded: seeded})
}

func newCloudRigOf(t *testing.T, cfg aws.Config, o options) *cloudRig {
	t.Helper()
	name := stack.Prefix + strings.ToLower(rand.Text()) + "-"
	worked := make(chan struct{}, 1)
	wrap := func(function string, h lambda.Handler) lambda.Handler {
		if !strings.HasSuffix(function, "-worker") {
			return h
		}
		return announced{h, worked}
	}
	o.Cloud, o.Name, o.Wrap = &cfg, name, wrap
	r := newRig(t, o)
	r.books = dynamo.NewLedger(dynamodb.NewFromConfig(cfg), name+"LedgerTable")
	r.cloud = &cloudRig{r, worked, name, sqs.NewFromConfig(cfg)}
	return r.cloud
}

// announced is a worker whose end is told.
type announced struct {
	lambda.Handler
	worked chan struct{}
}

func (a announced) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	defer func() {
		select {
		case a.worked <- struct{}{}:
		default:
		}
	}()
	return a.Handler.Invoke(ctx, payload)
}

// await looks, each time a worker has come to an end, whether something holds.
func (r *cloudRig) await(what string, holds func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Minute)
	defer cancel()
	for !holds() {
		select {
		case <-r.worked:
		case <-ctx.Done():
			r.t.Fatalf("after ten minutes still not: %s", what)
		}
	}
}

// sent waits until orders are in Rule.
func (r *cloudRig) sent(ids ...int64) {
	r.t.Helper()
	for _, id := range ids {
		r.await(fmt.Sprintf("order %d is sent", id), func() bool {
			rec, found, err := r.books.Get(r.t.Context(), order.Key{Account: r.id, Order: id})
			if err != nil {
				r.t.Fatalf("order %d: %v", id, err)
			}
			return found && rec.State == order.Sent
		})
	}
}

// url finds a queue as support does.
func (r *cloudRig) url(queue string) string {
	r.t.Helper()
	name := r.name + queue
	if q, _ := loadTemplate(r.t).Queue(queue); q.FIFO {
		name += ".fifo"
	}
	out, err := r.sqs.GetQueueUrl(r.t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String(name)})
	if err != nil {
		r.t.Fatal(err)
	}
	return aws.ToString(out.QueueUrl)
}

// waiting returns how many messages a queue has, those that are being worked on
// included.
func (r *cloudRig) waiting(queue string) (n int) {
	r.t.Helper()
	out, err := r.sqs.GetQueueAttributes(r.t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(r.url(queue)), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"} {
		part, err := strconv.Atoi(out.Attributes[name])
		if err != nil {
			r.t.Fatalf("%s of %s: %v", name, queue, err)
		}
		n += part
	}
	return n
}

// The day at the till with the real adapters, over the wire: DynamoDB, SQS and
// KMS of an emulator. It runs with `make test-aws`; without an emulator there is
// nothing to test here.
func TestDayOverAWS(t *testing.T) {
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	r := newCloudRig(t, cfg, false)
	playDay(t, r.rig, func() { r.sent(210334, 210502) })
}

// A day with bonus checks over the wire: they are imported, used in part by
// twenty tills at once, proved by an order, given back by a return.
func TestBonusOverAWS(t *testing.T) {
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	r := newCloudRig(t, cfg, true)
	show := func(id, want string) {
		t.Helper()
		if got := r.shown()[id]; got != want {
			t.Errorf("the card shows %s with %q, want %q", id, got, want)
		}
	}
	inRule := func(id, left string, redeemed bool) {
		t.Helper()
		if got := r.inRule(id); got["remaining"] != left || got["redeemed"] != redeemed {
			t.Errorf("in Rule %v, want %s left", got, left)
		}
	}

	// Two parts; the second time nothing is new.
	customers := [][]string{{"kund.fyra@example.com", "a-1", "a-2"}, {"ny@example.com", "a-3"}}
	for i := range 200 {
		customers = append(customers, []string{fmt.Sprintf("kund%d@example.com", i), "a-4"})
	}
	file := handout(customers...)
	for _, want := range []string{"done 100%: 202 of 202, written 202, unchanged 0, failed 0", "done 100%: 202 of 202, written 0, unchanged 202, failed 0"} {
		id := r.accepted(r.uploadForm(file, "bonus.txt"))
		r.await("the import is done", func() bool { return r.status(id).State == bonus.Done })
		if s := r.status(id); progress(s) != want || s.File != "bonus.txt" || s.Customers != 202 {
			t.Errorf("%s, want %s", progress(s), want)
		}
		if list := r.allImports(); len(list) == 0 || list[0].ID != id {
			t.Errorf("the latest is not first: %+v", list)
		}
		r.clock.Advance(11 * time.Minute)
	}
	if got := r.ids("kund.fyra@example.com"); got != "BC-2025-0099 BC-2025-0100 BC-2026-0001 BC-2026-0002 a-1 a-2" {
		t.Errorf("fyra has %s", got)
	}
	if got := r.ids("kund199@example.com"); got != "a-4" {
		t.Errorf("the last one has %s", got)
	}
	r.want(r.upload([]byte("email;value\n")), http.StatusBadRequest)
	r.want(r.call("GET", "/bonuschecks/imports/nix", nil), http.StatusNotFound)

	// Twenty tills want to use 60 kr of the same 100: one may, and the other 40 is
	// the next one's. Each that asks again is told the same.
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	tills := make([]answer, 20)
	all := func(body func(i int) string) (won int) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range tills {
			wg.Go(func() { tills[i] = r.redeem("POST", bonusPath("a-1"), body(i)) })
		}
		wg.Wait()
		for i, a := range tills {
			switch {
			case a.Status == http.StatusOK:
				won++
			case a.Status != http.StatusBadRequest || !strings.Contains(a.Body, `"conflict"`) && !strings.Contains(a.Body, `"check_nothing_used"`):
				t.Errorf("till %d: %d %s", i, a.Status, a.Body)
			}
		}
		return won
	}
	first := func(i int) string { return fmt.Sprintf(`{"orderid":%d,"remaining":"40"}`, 7000+i) }
	if won := all(first); won != 1 {
		t.Errorf("%d tills used 60 kr of 100, want 1", won)
	}
	if won := all(first); won != 1 {
		t.Errorf("asked again, %d tills used 60 kr of 100, want the same 1", won)
	}
	show("a-1", "40.00")
	if won := all(func(i int) string { return fmt.Sprintf(`{"orderid":%d}`, 7100+i) }); won != 1 {
		t.Errorf("%d tills used the rest, want 1", won)
	}
	show("a-1", "")
	inRule("a-1", "0.00", true)
	r.want(r.redeem("DELETE", bonusPath("a-1"), ""), 200)
	r.want(r.redeem("DELETE", bonusPath("a-1"), ""), 200)
	show("a-1", "40.00")
	inRule("a-1", "40.00", false)

	// The order proves it, its return gives it back; both come twice.
	for _, o := range []map[string]any{sale(5001, discounted("customcrm-bonuscheckid", "a-2")), sale(5002, back(5001))} {
		for range 2 {
			r.want(r.call("POST", "/transactions", o), 200)
		}
		id, _ := o["orderid"].(int64)
		r.sent(id)
		show("a-2", map[int64]string{5001: "", 5002: "100.00"}[id])
	}
	inRule("a-2", "100.00", false)
	r.want(r.redeem("POST", promotionPath("P-7"), `{"orderid":5003}`), 200)
	r.want(r.redeem("PUT", promotionPath("P-7"), `{"orderid":5004}`), 400)
	show("P-7", "")
	if n := r.rule.RequestsDuringBlock(key); n != 0 {
		t.Errorf("%d requests during a block", n)
	}
}

// Whose a shop is, with the real adapters: the same days as in memory.
func TestShopsOverAWS(t *testing.T) {
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	t.Run("a stranger with the shop's credentials", func(t *testing.T) {
		shop := fakesitoo.New(fakesitoo.Options{})
		playStranger(t, newCloudRigOf(t, cfg, environments{production: shop}.options()).rig, shop)
	})
	t.Run("the sandbox's number", func(t *testing.T) {
		shops := environments{production: fakesitoo.New(fakesitoo.Options{}), sandbox: fakesitoo.New(fakesitoo.Options{})}
		playSandbox(t, newCloudRigOf(t, cfg, shops.options()).rig, shops, production)
	})
	t.Run("a live key after the trial key", func(t *testing.T) {
		shop := fakesitoo.New(fakesitoo.Options{})
		playLiveKey(t, newCloudRigOf(t, cfg, environments{production: shop}.options()).rig, shop)
	})
	t.Run("two keys, one check", func(t *testing.T) {
		playTwoKeys(t, newCloudRig(t, cfg, true).rig)
	})
}

// A key that is revoked, sales that come all the same, a new key: with the real
// adapters, over the wire. The message that looks after them comes in a minute.
func TestKeysOverAWS(t *testing.T) {
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	r := newCloudRig(t, cfg, false)
	id := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com"}), 200).(string)
	r.rule.RevokeKey(key)
	r.want(r.call("GET", "/contacts?key=kund.ett@example.com", nil), http.StatusUnauthorized)
	for n := range int64(3) {
		r.want(r.call("POST", "/transactions", sale(1+n, of(id))), 200)
		r.clock.Advance(time.Second)
	}
	r.want(r.call("POST", "/transactions", sale(4, func(o map[string]any) {
		of(id)(o)
		o["comment"] = strings.Repeat("Å", 300_000) // too long for one item of DynamoDB's
	})), 200)
	if rec := r.ledger(1); rec.State != order.Waiting || rec.Reason != order.Refused {
		t.Errorf("the ledger says %+v", rec)
	}
	r.addKey(newKey)
	r.clock.Advance(time.Minute)
	list := r.want(r.as(newKey, "GET", "/keys", nil), 200).([]any)
	if len(list) != 2 || list[0].(map[string]any)["waiting"] != 4.0 {
		t.Errorf("keys: %v", list)
	}
	r.want(r.as(newKey, "GET", "/contacts?key=kund.ett@example.com", nil), 200)
	r.sent(1, 2, 3, 4)
	var sub int64
	if _, err := fmt.Sscan(id, &sub); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.entriesOf(sub), " "); got != "1 2 3 4" {
		t.Errorf("entries %s", got)
	}
	r.want(r.as(newKey, "DELETE", "/keys/"+account.ID(key), nil), 200)
	r.want(r.call("POST", "/transactions", sale(5, of(id))), http.StatusUnauthorized)
}
