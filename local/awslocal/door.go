package awslocal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"sitoo-rule/shared/sqsqueue"
	"sitoo-rule/shared/worker"
)

// Door serves queues at an emulator to people, as `make run` serves those in
// memory: a POST to /_queues/<logical id> is what `aws sqs send-message` is, and
// a GET shows up to ten messages, without taking them. find returns the URL of a
// queue, "" if there is none.
//
// Each look counts as a receive. That changes nothing where it is of use: no
// message leaves a dead-letter queue by being received.
func Door(client *sqs.Client, find func(ctx context.Context, id string) (url string, err error)) http.Handler {
	mux := http.NewServeMux()
	queue := func(w http.ResponseWriter, r *http.Request) (url string, ok bool) {
		url, err := find(r.Context(), r.PathValue("id"))
		if err != nil || url == "" {
			http.Error(w, `{"message":"There is no such queue."}`, http.StatusNotFound)
			return "", false
		}
		return url, true
	}
	mux.HandleFunc("POST /_queues/{id}", func(w http.ResponseWriter, r *http.Request) {
		url, ok := queue(w, r)
		if !ok {
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, sqsqueue.MaxSize))
		if err != nil {
			http.Error(w, `{"message":"The message is too large."}`, http.StatusBadRequest)
			return
		}
		m := worker.Message{Body: string(body)}
		if strings.HasSuffix(url, ".fifo") {
			m.Group, m.Dedup = "support", rand.Text()
		}
		if err := sqsqueue.New(client, url).Send(r.Context(), m); err != nil {
			http.Error(w, `{"message":"The queue does not take the message."}`, http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, `{"status":"queued"}`)
	})
	mux.HandleFunc("GET /_queues/{id}", func(w http.ResponseWriter, r *http.Request) {
		url, ok := queue(w, r)
		if !ok {
			return
		}
		out, err := client.ReceiveMessage(r.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: aws.String(url), MaxNumberOfMessages: maxBatch, VisibilityTimeout: 0, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			http.Error(w, `{"message":"The queue does not answer."}`, http.StatusBadGateway)
			return
		}
		list := []shown{}
		for _, m := range out.Messages {
			list = append(list, shown{
				Reason:   aws.ToString(m.MessageAttributes[worker.Reason].StringValue),
				Receives: m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)],
				Body:     aws.ToString(m.Body),
			})
		}
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(list)
	})
	return mux
}

// shown is a message as it is shown.
type shown struct {
	Reason   string `json:"reason,omitempty"` // why it was put aside
	Receives string `json:"receives"`
	Body     string `json:"body"`
}
