// Command operator does what only an operator may, with AWS credentials: `make
// release-shop` puts out whoever has a Sitoo account's shops, and `make
// restore-key` takes back that a merchant dropped an API key.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/dynamo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, open); err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

// open returns the accounts of a table, or of the only one there is.
func open(ctx context.Context, table string) (account.Store, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	client := dynamodb.NewFromConfig(cfg)
	if table == "" {
		if table, err = find(ctx, client); err != nil {
			return nil, err
		}
	}
	return dynamo.NewAccounts(client, table), nil
}

// find returns the only table of accounts.
func find(ctx context.Context, client dynamodb.ListTablesAPIClient) (string, error) {
	var found []string
	for pages := dynamodb.NewListTablesPaginator(client, nil); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("list tables: %w", err)
		}
		for _, name := range page.TableNames {
			if strings.Contains(name, "AccountsTable") {
				found = append(found, name)
			}
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("say the table: TABLE=, the output AccountsTableName of the stack; there are %q", found)
	}
	return found[0], nil
}

// run does what the arguments ask for.
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer, open func(ctx context.Context, table string) (account.Store, error)) error {
	usage := errors.New("say release-shop with SITOO=90001, or restore-key with KEYID=, the keyid of GET /sitoo/keys")
	if len(args) != 1 {
		return usage
	}
	sitoo, key := strings.TrimSpace(getenv("SITOO")), strings.TrimSpace(getenv("KEYID"))
	if args[0] == "release-shop" && sitoo == "" || args[0] == "restore-key" && key == "" {
		return usage
	}
	store, err := open(ctx, strings.TrimSpace(getenv("TABLE")))
	if err != nil {
		return err
	}
	switch args[0] {
	case "release-shop":
		d := &account.Directory{Store: store, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		released, err := d.ReleaseShop(ctx, sitoo)
		for _, c := range released {
			fmt.Fprintf(out, "released %s, which was account %s's; that account cannot claim it again\n", c.Shop, c.Scope)
		}
		if err == nil && len(released) == 0 {
			fmt.Fprintf(out, "no account has a shop of Sitoo account %s\n", sitoo)
		}
		return err
	case "restore-key":
		switch err := store.DropKey(ctx, key, time.Time{}); {
		case errors.Is(err, account.ErrNotFound):
			return errors.New("there is no key with this id")
		case err != nil:
			return err
		}
		fmt.Fprintln(out, "the key is as good as Rule says it is")
		return nil
	}
	return usage
}
