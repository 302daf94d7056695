// Command consent-list is the Lambda function that lists the topics that a customer can accept.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.ConsentList, app.WithAccounts)
}
