// Command key-drop is the Lambda function that drops one of a shop's API keys.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.KeyDrop, app.WithAccounts)
}
