// A custom runtime that breaks the rules of the Runtime API, one per MODE.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

var base = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"

func main() {
	switch mode := os.Getenv("MODE"); mode {
	case "init-error":
		post("init/error", `{"errorType":"Config.Missing","errorMessage":"RULE_URL is not set"}`)
		time.Sleep(time.Hour)
	case "init-exit":
		fmt.Println("config: RULE_URL is not set")
		os.Exit(2)
	case "init-hang":
		time.Sleep(time.Hour)
	case "no-reply":
		next()
		id := next()
		post("invocation/"+id+"/response", `"second"`)
		next()
	case "odd-replies":
		id := next()
		fmt.Println("wrong id", post("invocation/nobody/response", `1`))
		fmt.Println("first", post("invocation/"+id+"/response", `"first"`))
		fmt.Println("second", post("invocation/"+id+"/response", `"second"`))
		fmt.Println("error", post("invocation/"+id+"/error", `{}`))
		fmt.Println("path", post("invocation/"+id, ``))
		next()
	case "text-error":
		id := next()
		post("invocation/"+id+"/error", "not JSON at all")
		next()
	case "stuck-after-reply":
		id := next()
		post("invocation/"+id+"/response", `1`)
		time.Sleep(time.Hour)
	}
}

func next() string {
	r, err := http.Get(base + "invocation/next")
	if err != nil {
		panic(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(err)
	}
	return r.Header.Get("Lambda-Runtime-Aws-Request-Id")
}

func post(path, body string) int {
	r, err := http.Post(base+path, "application/json", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(err)
	}
	return r.StatusCode
}
