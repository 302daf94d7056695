// Command key-list is the Lambda function that lists a shop's API keys, without the keys.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.KeyList, app.WithAccounts, app.WithParked)
}
