package sqsqueue_test

import (
	"crypto/rand"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/contract"
	"sitoo-rule/shared/sqsqueue"
)

func TestEmulator(t *testing.T) {
	t.Parallel()
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	client := sqs.NewFromConfig(cfg)
	for name, isFIFO := range map[string]bool{"standard": false, "fifo": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract.Queue(t, func(t *testing.T) contract.QueueUnderTest {
				declared := awslocal.Queue{
					Name:       "test-" + strings.ToLower(rand.Text()),
					Attributes: map[string]string{"VisibilityTimeout": "300"},
				}
				if isFIFO {
					declared.Name += ".fifo"
					declared.Attributes["FifoQueue"] = "true"
				}
				made, err := awslocal.CreateQueues(t.Context(), cfg, []awslocal.Queue{declared})
				if err != nil {
					t.Fatal(err)
				}
				url := made[declared.Name].URL
				q := sqsqueue.New(client, url)
				return contract.QueueUnderTest{
					Sender: q, Delayer: q, FIFO: isFIFO,
					Receive: func(t *testing.T, n int) []contract.Delivery { return receive(t, client, url, n) },
					Delete: func(t *testing.T, receipt string) {
						_, err := client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{
							QueueUrl: aws.String(url), ReceiptHandle: aws.String(receipt),
						})
						if err != nil {
							t.Fatalf("delete: %v", err)
						}
					},
				}
			})
		})
	}
}

func receive(t *testing.T, client *sqs.Client, url string, n int) []contract.Delivery {
	t.Helper()
	out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl:                    aws.String(url),
		MaxNumberOfMessages:         int32(n),
		WaitTimeSeconds:             1,
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	var got []contract.Delivery
	for _, m := range out.Messages {
		count, err := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
		if err != nil {
			t.Fatalf("receive count: %v", err)
		}
		d := contract.Delivery{
			ID: aws.ToString(m.MessageId), Receipt: aws.ToString(m.ReceiptHandle), Body: aws.ToString(m.Body),
			Group: m.Attributes["MessageGroupId"], Count: count,
		}
		for name, a := range m.MessageAttributes {
			if d.Attributes == nil {
				d.Attributes = make(map[string]string)
			}
			d.Attributes[name] = aws.ToString(a.StringValue)
		}
		got = append(got, d)
	}
	return got
}
