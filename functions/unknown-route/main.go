// Command unknown-route is the Lambda function that answers what no other function does, and logs its shape.
package main

import (
	"sitoo-rule/shared/app"
)

func main() {
	app.Start(app.UnknownRoute, app.WithKnownKeys)
}
