// A Lambda function for the tests of smoke and invoke.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	Do   string `json:"do"`
	Text string `json:"text"`
}

func main() {
	if os.Getenv("FAIL_AT_START") != "" {
		fmt.Println("config: GREETING is not set")
		os.Exit(1)
	}
	count := 0
	lambda.Start(func(_ context.Context, e event) (any, error) {
		count++
		fmt.Printf("{\"msg\":\"handled\",\"count\":%d}\n", count)
		switch e.Do {
		case "fail":
			return nil, errors.New(e.Text)
		case "panic":
			panic(e.Text)
		case "fetch":
			return fetch(os.Getenv("FETCH"))
		case "exit":
			os.Exit(4)
		}
		body, err := json.Marshal(map[string]any{"greeting": os.Getenv("GREETING"), "text": e.Text, "count": count})
		if err != nil {
			return nil, err
		}
		return map[string]any{"statusCode": 200, "body": string(body)}, nil
	})
}

// fetch returns what a server answers.
func fetch(url string) (string, error) {
	res, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}
