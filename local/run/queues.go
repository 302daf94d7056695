package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"sitoo-rule/local/deployment"
	"sitoo-rule/local/queue"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/sqsqueue"
	"sitoo-rule/shared/worker"
)

// queues are the queues as support sees them, by logical id.
type queues interface {
	// send posts a message. An error's text says what is wrong.
	send(ctx context.Context, id, body string) error
	// list returns what is on a queue, without taking it. The error is errNoQueue
	// if there is none to be looked at.
	list(ctx context.Context, id string) ([]queued, error)
}

var errNoQueue = errors.New("there is no such queue")

// queued is a message as it is shown.
type queued struct {
	Reason    string      `json:"reason,omitempty"` // why it was put aside
	State     queue.State `json:"state"`
	Receives  int         `json:"receives"`
	Sent      time.Time   `json:"sent"`
	VisibleAt time.Time   `json:"visible_at"`
	Body      string      `json:"body"`
}

// withQueues serves the API, and beside it the queues: a POST to /_queues/<logical
// id> is what `aws sqs send-message` is in AWS, and a GET shows what is on the
// queue, without taking it.
func withQueues(api http.Handler, q queues) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", api)
	if q == nil {
		return mux
	}
	mux.HandleFunc("POST /_queues/{id}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, sqsqueue.MaxSize))
		if err == nil {
			err = q.send(r.Context(), r.PathValue("id"), string(body))
		}
		if errors.Is(err, errNoQueue) {
			http.Error(w, `{"message":"There is no such queue, or the message is too large."}`, http.StatusBadRequest)
			return
		}
		if err != nil {
			http.Error(w, `{"message":"The queue does not take the message."}`, http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, `{"status":"queued"}`)
	})
	mux.HandleFunc("GET /_queues/{id}", func(w http.ResponseWriter, r *http.Request) {
		list, err := q.list(r.Context(), r.PathValue("id"))
		if errors.Is(err, errNoQueue) {
			http.Error(w, `{"message":"There is no such queue."}`, http.StatusNotFound)
			return
		}
		if err != nil {
			http.Error(w, `{"message":"The queue does not answer."}`, http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(list)
	})
	return mux
}

// inMemory are queues of this process.
type inMemory struct{ broker *queue.Broker }

func (b inMemory) send(ctx context.Context, id, body string) error {
	q, ok := b.broker.Queue(id)
	if !ok {
		return errNoQueue
	}
	return q.Send(ctx, worker.Message{Body: body, Group: "support", Dedup: rand.Text()})
}

func (b inMemory) list(_ context.Context, id string) ([]queued, error) {
	q, ok := b.broker.Queue(id)
	if !ok {
		return nil, errNoQueue
	}
	list := []queued{}
	for _, m := range q.Messages() {
		list = append(list, queued{m.Attributes[worker.Reason], m.State, m.Receives, m.Sent, m.VisibleAt, m.Body})
	}
	return list, nil
}

// inSQS are queues of a deployment. Those that have a worker are not listed: SQS
// shows a message only to who receives it.
type inSQS struct {
	client   *sqs.Client
	template *template.Template
	made     *deployment.Deployment
}

func (s inSQS) send(ctx context.Context, id, body string) error {
	q, ok := s.template.Queue(id)
	if !ok {
		return errNoQueue
	}
	url, err := s.made.Resolve(id, "")
	if err != nil {
		return err
	}
	in := &sqs.SendMessageInput{QueueUrl: aws.String(url), MessageBody: aws.String(body)}
	if q.FIFO {
		in.MessageGroupId, in.MessageDeduplicationId = aws.String("support"), aws.String(rand.Text())
	}
	_, err = s.client.SendMessage(ctx, in)
	return err
}

func (s inSQS) list(ctx context.Context, id string) ([]queued, error) {
	if _, ok := s.template.Queue(id); !ok {
		return nil, errNoQueue
	}
	for _, source := range s.template.EventSources {
		if source.Queue == id {
			return nil, errNoQueue
		}
	}
	url, err := s.made.Resolve(id, "")
	if err != nil {
		return nil, err
	}
	out, err := s.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(url), MaxNumberOfMessages: 10,
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		return nil, err
	}
	list := []queued{}
	for _, m := range out.Messages {
		if _, err := s.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: aws.String(url), ReceiptHandle: m.ReceiptHandle}); err != nil {
			return nil, err
		}
		item := queued{State: queue.Visible, Body: aws.ToString(m.Body)}
		item.Reason = aws.ToString(m.MessageAttributes[worker.Reason].StringValue)
		item.Receives, _ = strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
		if ms, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64); err == nil {
			item.Sent = time.UnixMilli(ms).UTC()
			item.VisibleAt = item.Sent
		}
		list = append(list, item)
	}
	return list, nil
}
