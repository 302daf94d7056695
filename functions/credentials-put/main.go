// Command credentials-put is the Lambda function that takes a shop's credentials for Sitoo.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.CredentialsPut, app.WithAccounts, app.WithSitoo)
}
