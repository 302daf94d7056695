// A Lambda function for the package's tests. It does what its payload says.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type request struct {
	Do   string `json:"do"`
	Text string `json:"text"`
}

type reply struct {
	Text      string   `json:"text"`
	RequestID string   `json:"requestid"`
	ARN       string   `json:"arn"`
	Deadline  bool     `json:"deadline"`
	Env       []string `json:"env,omitempty"`
	Count     int      `json:"count"`
}

func main() {
	if text := os.Getenv("SAY_AT_START"); text != "" {
		fmt.Println(text)
	}
	count := 0
	lambda.Start(func(ctx context.Context, r request) (any, error) {
		count++
		switch r.Do {
		case "fail":
			fmt.Fprintln(os.Stderr, "about to fail")
			return nil, errors.New(r.Text)
		case "panic":
			panic(r.Text)
		case "exit":
			fmt.Println("leaving")
			os.Exit(3)
		case "hang":
			fmt.Println("hanging")
			time.Sleep(time.Hour)
		case "large":
			return strings.Repeat("x", 7<<20), nil
		case "torn":
			return io.MultiReader(strings.NewReader("half"), torn{}), nil
		case "env":
			return reply{Env: os.Environ()}, nil
		case "print":
			fmt.Println("out " + r.Text)
			fmt.Fprintln(os.Stderr, "err "+r.Text)
			fmt.Print("no newline")
		}
		lc, _ := lambdacontext.FromContext(ctx)
		_, deadline := ctx.Deadline()
		return reply{Text: r.Text, RequestID: lc.AwsRequestID, ARN: lc.InvokedFunctionArn, Deadline: deadline, Count: count}, nil
	})
}

// torn is a reply that breaks in the middle.
type torn struct{}

func (torn) Read([]byte) (int, error) { return 0, errors.New("the rest is gone") }
