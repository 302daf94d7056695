// Command setup-check is the Lambda function that tries every flow against Rule and Sitoo.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.SetupCheck, app.WithAccounts, app.WithConsents, app.WithSitoo)
}
