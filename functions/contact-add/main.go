// Command contact-add is the Lambda function that registers a customer.
package main

import (
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
)

func main() {
	app.Start(app.ContactAdd, app.WithAccounts, app.WithBonusQueue, app.WithConsents, app.WithPhones(phone.Parser))
}
