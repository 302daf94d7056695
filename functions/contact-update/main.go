// Command contact-update is the Lambda function that edits a customer.
package main

import (
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
)

func main() {
	app.Start(app.ContactUpdate, app.WithAccounts, app.WithBonusQueue, app.WithConsents, app.WithPhones(phone.Parser))
}
