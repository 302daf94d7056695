// Command contact-lookup is the Lambda function that looks a person up in a register, which Rule is not.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.ContactLookup, app.WithAccounts)
}
