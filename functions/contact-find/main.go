// Command contact-find is the Lambda function that finds a customer by email or phone.
package main

import (
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
)

func main() {
	app.Start(app.ContactFind, app.WithAccounts, app.WithBonus, app.WithPhones(phone.Parser))
}
