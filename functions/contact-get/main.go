// Command contact-get is the Lambda function that shows a customer by id.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.ContactGet, app.WithAccounts, app.WithBonus)
}
