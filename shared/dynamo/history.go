package dynamo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/awsfault"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
)

const (
	// keepParts is how long the results of a job can be asked about.
	keepParts = 180 * 24 * time.Hour
	// keepPeople is how long what is noted of people is kept if their job never
	// ends. A list is made within a day, and gone by for another.
	keepPeople = 14 * 24 * time.Hour
	// maxJobs is how many jobs a list has.
	maxJobs = 50
	// maxResult is how many bytes of JSON a job or a part's result may be. An
	// item may have 409,600 with its keys and the names of its attributes.
	maxResult = 400_000
	// lastWord is what of that is kept for a job to say why it ends.
	lastWord = 4000
	// maxRange is how many bytes DynamoDB takes as a sort key.
	maxRange = 1024
	// entrySize is how many bytes a subscriber takes in a bucket: the digest and
	// the id.
	entrySize = len(history.Digest{}) + 8
	// maxNote is how many bytes of entries one item may have.
	maxNote = 400_000 / entrySize * entrySize
	// maxSealed is how many bytes are kept of a contact: its length takes one.
	maxSealed = 255
	// bucketsAtOnce is how many requests for buckets are under way at a time.
	bucketsAtOnce = 16
)

// History is the history.Jobs and the history.People of a DynamoDB table. Its
// errors are history.ErrChanged and history.ErrNoJob, or a fault: TooLarge for
// what no item can hold, Unavailable when another try may help, Internal for a
// damaged item or a request that DynamoDB refuses.
type History struct {
	client Client
	table  string
	last   atomic.Int64 // when add was called last, see turn
}

var (
	_ history.Jobs   = (*History)(nil)
	_ history.People = (*History)(nil)
)

// NewHistory returns the jobs and lists in table.
func NewHistory(client Client, table string) *History {
	return &History{client: client, table: table}
}

// Get returns a job, history.ErrNoJob if there is none. The read is strongly
// consistent.
func (s *History) Get(ctx context.Context, account, id string) (history.Job, error) {
	j, err := s.job(ctx, account, id)
	if err != nil {
		return history.Job{}, wrapJob(err, "get", account, id)
	}
	return j, nil
}

func (s *History) job(ctx context.Context, account, id string) (history.Job, error) {
	name := "job#" + id
	if len(name) > maxRange {
		return history.Job{}, history.ErrNoJob // ids come from outside
	}
	found, err := s.get(ctx, account, name)
	if err != nil {
		return history.Job{}, err
	}
	if len(found) == 0 {
		return history.Job{}, history.ErrNoJob
	}
	return job(found)
}

// job reads an item of a job.
func job(i item) (history.Job, error) {
	r := reader{item: i}
	var j history.Job
	r.must("job")
	r.json("job", &j)
	j.Rev = r.number("rev")
	if j.Rev < 1 {
		r.fail("rev", "want a number from 1, got %d", j.Rev)
	}
	if r.err != nil {
		return history.Job{}, damaged(r.err)
	}
	return j, nil
}

// List returns the account's jobs, those created last first, at most 50. The
// reads are strongly consistent.
func (s *History) List(ctx context.Context, account string) ([]history.Job, error) {
	var jobs []history.Job
	err := s.query(ctx, account, "job#", func(i item) error {
		j, err := job(i)
		jobs = append(jobs, j)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs of account %s: %w", account, err)
	}
	slices.SortFunc(jobs, func(a, b history.Job) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return jobs[:min(len(jobs), maxJobs)], nil
}

// Put stores j as revision j.Rev+1, provided that the stored job is at j.Rev;
// otherwise it is history.ErrChanged. It recognises its own write, when the
// answer was lost and the SDK sends it again, also if one other write came in
// between.
func (s *History) Put(ctx context.Context, j history.Job) error {
	return wrapJob(s.put(ctx, j), "put", j.Account, j.ID)
}

func (s *History) put(ctx context.Context, j history.Job) error {
	const update = "SET #rev = :next, #job = :job, #state = :state, #phase = :phase, #cursor = :cursor, #created = :created, #updated = :updated, " +
		"#stamp = :stamp, #before = if_not_exists(#stamp, :stamp)"
	raw, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if most := maxResult - lastWord; len(raw) > maxResult || len(raw) > most && !j.State.Final() && j.State != history.Paused {
		return fault.New(fault.TooLarge, "The backfill has more open orders, or more parts, than can be kept count of. Start one for a shorter period.")
	}
	stamp := rand.Text()
	values := item{
		":next":    number(j.Rev + 1),
		":job":     text(string(raw)),
		":state":   text(string(j.State)),
		":phase":   text(string(j.Phase)),
		":cursor":  number(j.Cursor),
		":created": moment(j.Created),
		":updated": moment(j.Updated),
		":stamp":   text(stamp),
	}
	condition := "attribute_not_exists(#account)"
	if j.Rev != 0 {
		condition = "#rev = :rev"
		values[":rev"] = number(j.Rev)
	}
	_, err = s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                           aws.String(s.table),
		Key:                                 historyKey(j.Account, "job#"+j.ID),
		UpdateExpression:                    aws.String(update),
		ConditionExpression:                 aws.String(condition),
		ExpressionAttributeNames:            names(update, condition),
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if there, ok := refused(err); ok {
		r := reader{item: there}
		if r.text("stamp") == stamp || r.text("before") == stamp {
			return nil
		}
		return history.ErrChanged
	}
	return awsfault.Wrap(err, "update item")
}

// Part returns the result of a part of a job's run, a Part with nothing but its
// id if there is none. The read is strongly consistent.
func (s *History) Part(ctx context.Context, account, job string, run int, id string) (history.Part, error) {
	found, err := s.get(ctx, account, partsOf(job, run)+id)
	if err == nil && len(found) == 0 {
		return history.Part{ID: id}, nil
	}
	var p history.Part
	if err == nil {
		p, err = result(found)
	}
	if err != nil {
		return history.Part{}, wrapJob(err, "get part "+id+" of", account, job)
	}
	return p, nil
}

// Parts returns all results of a job's run, by their ids. The reads are strongly
// consistent.
func (s *History) Parts(ctx context.Context, account, job string, run int) ([]history.Part, error) {
	var parts []history.Part
	err := s.query(ctx, account, partsOf(job, run), func(i item) error {
		p, err := result(i)
		parts = append(parts, p)
		return err
	})
	if err != nil {
		return nil, wrapJob(err, "get parts of", account, job)
	}
	return parts, nil
}

// SavePart notes a part's result, until 180 days after p.Updated. One that is
// finished, or whose stored Done is higher, is left as it is, which is not an
// error.
func (s *History) SavePart(ctx context.Context, account, job string, run int, p history.Part) error {
	return wrapJob(s.savePart(ctx, account, job, run, p), "save part "+p.ID+" of", account, job)
}

func (s *History) savePart(ctx context.Context, account, job string, run int, p history.Part) error {
	const condition = "attribute_not_exists(#account) OR #finished = :false AND #done <= :done"
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if len(raw) > maxResult {
		return fault.New(fault.TooLarge, "The reasons why orders failed are more than can be kept.")
	}
	put := historyKey(account, partsOf(job, run)+p.ID)
	put["result"] = text(string(raw))
	put["done"] = number(int64(p.Done))
	put["finished"] = &types.AttributeValueMemberBOOL{Value: p.Finished}
	put["updated"] = moment(p.Updated)
	put["expires"] = number(p.Updated.Add(keepParts).Unix())
	_, err = s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                aws.String(s.table),
		Item:                     put,
		ConditionExpression:      aws.String(condition),
		ExpressionAttributeNames: names(condition),
		ExpressionAttributeValues: item{
			":false": &types.AttributeValueMemberBOOL{},
			":done":  number(int64(p.Done)),
		},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if there, ok := refused(err); ok {
		_, err := result(there) // a damaged one would stand in the way for ever
		return err
	}
	return awsfault.Wrap(err, "put item")
}

// result reads an item of a part.
func result(i item) (history.Part, error) {
	r := reader{item: i}
	var p history.Part
	r.must("result")
	r.must("done")
	r.must("finished")
	r.json("result", &p)
	if done, finished := r.number("done"), r.flag("finished"); r.err == nil && (int(done) != p.Done || finished != p.Finished) {
		r.fail("result", "says %d done, finished %v, and the item %d, %v", p.Done, p.Finished, done, finished)
	}
	if r.err != nil {
		return history.Part{}, damaged(r.err)
	}
	return p, nil
}

// Add notes subscribers by digest, for 14 days or until Forget. It may be
// repeated, and two may add to a list at once.
func (s *History) Add(ctx context.Context, account, list string, people map[history.Digest]int64) error {
	var buckets [256][]byte // entries, each bucket's in the order of the digests
	for d, id := range people {
		buckets[d[0]] = append(buckets[d[0]], entry(d, id)...)
	}
	for b := range buckets {
		buckets[b] = sorted(buckets[b])
	}
	return wrapList(s.add(ctx, account, digests, list, buckets), "add to", account, list)
}

// AddContacts notes subscribers by Rule's id, for 14 days or until Forget. It may
// be repeated, and two may add to a list at once.
func (s *History) AddContacts(ctx context.Context, account, list string, sealed map[int64][]byte) error {
	var buckets [256][]byte // entries, each bucket's in the order of the ids
	for _, id := range slices.Sorted(maps.Keys(sealed)) {
		if len(sealed[id]) > maxSealed {
			return wrapList(fault.Wrap(fault.Internal, fmt.Errorf("%d bytes, at most %d", len(sealed[id]), maxSealed), "note a contact"), "add contacts to", account, list)
		}
		b := byte(id) // ids ascend: their last byte spreads them
		buckets[b] = append(buckets[b], contact(id, sealed[id])...)
	}
	return wrapList(s.add(ctx, account, contacts, list, buckets), "add contacts to", account, list)
}

// kind is what a list's buckets hold.
type kind struct {
	name  string
	whole func(entries []byte) bool
}

var (
	digests = kind{
		"people", func(entries []byte) bool { return len(entries)%entrySize == 0 },
	}
	contacts = kind{
		"contacts", func(entries []byte) bool {
			for len(entries) > 0 {
				var ok bool
				if _, _, entries, ok = nextContact(entries); !ok {
					return false
				}
			}
			return true
		},
	}
)

// add notes entries in a list's buckets. Each call adds an item to each bucket
// that it has something for, and rewrites none: noting a shop costs as much for
// each subscriber, however many there are.
func (s *History) add(ctx context.Context, account string, k kind, list string, buckets [256][]byte) error {
	var used []byte
	for b := range buckets {
		if len(buckets[b]) > 0 {
			used = append(used, byte(b))
		}
	}
	turn := s.turn()
	return atOnce(ctx, used, func(ctx context.Context, b byte) error {
		if len(buckets[b]) > maxNote {
			return fault.New(fault.TooLarge, "There are more subscribers than can be noted at once.")
		}
		const update = "SET #people = :people, #expires = :expires"
		_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName:                aws.String(s.table),
			Key:                      historyKey(account, bucketName(k, list, b)+"#"+turn),
			UpdateExpression:         aws.String(update),
			ExpressionAttributeNames: names(update),
			ExpressionAttributeValues: item{
				":people":  &types.AttributeValueMemberB{Value: buckets[b]},
				":expires": number(time.Now().Add(keepPeople).Unix()),
			},
		})
		return awsfault.Wrap(err, "update item")
	})
}

// turn names the items of one call of add: after those of every call before it,
// so that the last word holds, and apart from those of other processes.
func (s *History) turn() string {
	at := time.Now().UnixNano()
	for {
		last := s.last.Load()
		at = max(at, last+1)
		if s.last.CompareAndSwap(last, at) {
			return fmt.Sprintf("%016x-%s", at, rand.Text()[:8])
		}
	}
}

// Find returns those of the digests that are known. It reads one bucket for all
// digests that begin with the same byte. The reads are strongly consistent.
func (s *History) Find(ctx context.Context, account, list string, of []history.Digest) (map[history.Digest]int64, error) {
	var buckets [256][]history.Digest
	var used []byte
	for _, d := range of {
		if buckets[d[0]] == nil {
			used = append(used, d[0])
		}
		buckets[d[0]] = append(buckets[d[0]], d)
	}
	var mu sync.Mutex
	known := map[history.Digest]int64{}
	err := atOnce(ctx, used, func(ctx context.Context, b byte) error {
		return s.bucket(ctx, account, digests, bucketName(digests, list, b), func(entries []byte) {
			mu.Lock()
			defer mu.Unlock()
			for _, d := range buckets[b] {
				if id, ok := lookUp(entries, d); ok {
					known[d] = id
				}
			}
		})
	})
	if err != nil {
		return nil, wrapList(err, "search", account, list)
	}
	return known, nil
}

// FindContacts returns those of the ids that are known. It reads one bucket for
// all ids that end with the same byte. The reads are strongly consistent.
func (s *History) FindContacts(ctx context.Context, account, list string, ids []int64) (map[int64][]byte, error) {
	var asked [256]map[int64]bool
	var used []byte
	for _, id := range ids {
		b := byte(id)
		if asked[b] == nil {
			used, asked[b] = append(used, b), map[int64]bool{}
		}
		asked[b][id] = true
	}
	var mu sync.Mutex
	known := map[int64][]byte{}
	err := atOnce(ctx, used, func(ctx context.Context, b byte) error {
		return s.bucket(ctx, account, contacts, bucketName(contacts, list, b), func(entries []byte) {
			mu.Lock()
			defer mu.Unlock()
			for len(entries) > 0 {
				var id int64
				var sealed []byte
				id, sealed, entries, _ = nextContact(entries)
				if asked[b][id] {
					known[id] = bytes.Clone(sealed) // else it would hold on to the whole item
				}
			}
		})
	})
	if err != nil {
		return nil, wrapList(err, "search contacts of", account, list)
	}
	return known, nil
}

// bucket calls do with the entries of each item of a bucket, those noted first
// first.
func (s *History) bucket(ctx context.Context, account string, k kind, name string, do func(entries []byte)) error {
	return s.query(ctx, account, name+"#", func(found item) error {
		r := reader{item: found}
		entries := r.bytes("people")
		if len(entries) == 0 || !k.whole(entries) {
			r.fail("people", "want whole entries, got %d bytes", len(entries))
		}
		if r.err != nil {
			return damaged(r.err)
		}
		do(entries)
		return nil
	})
}

// Forget deletes all lists of a run of a job. It may be repeated.
func (s *History) Forget(ctx context.Context, account, job string, run int) error {
	for _, k := range []kind{digests, contacts} {
		var keys []string
		prefix := k.name + "#" + history.ListsOf(job, run)
		err := s.query(ctx, account, prefix, func(found item) error {
			r := reader{item: found}
			keys = append(keys, r.text("item"))
			return r.err
		})
		if err != nil {
			return wrapList(err, "forget", account, prefix)
		}
		err = atOnce(ctx, keys, func(ctx context.Context, name string) error {
			_, err := s.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String(s.table), Key: historyKey(account, name)})
			return awsfault.Wrap(err, "delete item")
		})
		if err != nil {
			return wrapList(err, "forget", account, prefix)
		}
	}
	return nil
}

// entry is a subscriber in a bucket: the digest and the id, the highest byte
// first.
func entry(d history.Digest, id int64) []byte {
	return binary.BigEndian.AppendUint64(d[:], uint64(id))
}

// digestAt returns the digest of the entry at a place, from 0.
func digestAt(entries []byte, i int) []byte {
	return entries[i*entrySize:][:len(history.Digest{})]
}

// sorted returns entries in the order of their digests.
func sorted(entries []byte) []byte {
	list := slices.SortedFunc(slices.Chunk(entries, entrySize), bytes.Compare)
	return bytes.Join(list, nil)
}

// lookUp returns the subscriber's id that entries have for a digest.
func lookUp(entries []byte, d history.Digest) (id int64, ok bool) {
	low, high := 0, len(entries)/entrySize
	for low < high {
		mid := (low + high) / 2
		switch bytes.Compare(digestAt(entries, mid), d[:]) {
		case 0:
			return int64(binary.BigEndian.Uint64(entries[mid*entrySize+len(d):])), true
		case -1:
			low = mid + 1
		default:
			high = mid
		}
	}
	return 0, false
}

// contact is a subscriber in a bucket of contacts: the id, the highest byte
// first, how many bytes there are of the rest, and the rest.
func contact(id int64, sealed []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(id))
	return append(append(b, byte(len(sealed))), sealed...)
}

// nextContact takes the first entry from a bucket of contacts. ok is false if
// there is no whole one.
func nextContact(entries []byte) (id int64, sealed, rest []byte, ok bool) {
	const head = 8 + 1
	if len(entries) < head {
		return 0, nil, nil, false
	}
	end := head + int(entries[8])
	if len(entries) < end {
		return 0, nil, nil, false
	}
	return int64(binary.BigEndian.Uint64(entries)), entries[head:end], entries[end:], true
}

// atOnce does something for each bucket or item, some at a time, and returns the first
// error, after which no more are begun.
func atOnce[B any](ctx context.Context, buckets []B, do func(ctx context.Context, b B) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan B, len(buckets))
	for _, b := range buckets {
		next <- b
	}
	close(next)
	var all sync.WaitGroup
	var first error
	var once sync.Once
	for range min(bucketsAtOnce, len(buckets)) {
		all.Go(func() {
			for b := range next {
				if err := do(ctx, b); err != nil {
					once.Do(func() {
						first = err
						cancel()
					})
					return
				}
			}
		})
	}
	all.Wait()
	return first
}

func (s *History) get(ctx context.Context, account, name string) (item, error) {
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      aws.String(s.table),
		Key:            historyKey(account, name),
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, awsfault.Wrap(err, "get item")
	}
	return out.Item, nil
}

// query calls do with every item of an account whose name begins with prefix, by
// name.
func (s *History) query(ctx context.Context, account, prefix string, do func(item) error) error {
	const condition = "#account = :account AND begins_with(#item, :prefix)"
	var from item
	for {
		out, err := s.client.Query(ctx, &dynamodb.QueryInput{
			TableName:                 aws.String(s.table),
			KeyConditionExpression:    aws.String(condition),
			ExpressionAttributeNames:  names(condition),
			ExpressionAttributeValues: item{":account": text(account), ":prefix": text(prefix)},
			ConsistentRead:            aws.Bool(true),
			ExclusiveStartKey:         from,
		})
		if err != nil {
			return awsfault.Wrap(err, "query")
		}
		for _, i := range out.Items {
			if err := do(i); err != nil {
				return err
			}
		}
		if from = out.LastEvaluatedKey; len(from) == 0 {
			return nil
		}
	}
}

func historyKey(account, name string) item {
	return item{"account": text(account), "item": text(name)}
}

// partsOf is how the names of the parts of a job's run begin.
func partsOf(job string, run int) string { return "part#" + job + "#" + strconv.Itoa(run) + "#" }

func bucketName(k kind, list string, b byte) string {
	return strings.Join([]string{k.name, list, hex.EncodeToString([]byte{b})}, "#")
}

// wrapJob says what was attempted with which job.
func wrapJob(err error, doing, account, id string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s job %s of account %s: %w", doing, id, account, err)
}

// wrapList says what was attempted with which list of people.
func wrapList(err error, doing, account, list string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s list %s of account %s: %w", doing, list, account, err)
}
