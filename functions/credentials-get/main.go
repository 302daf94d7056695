// Command credentials-get is the Lambda function that tells whether there are credentials for Sitoo.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.CredentialsGet, app.WithAccounts)
}
