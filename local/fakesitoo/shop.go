package fakesitoo

import (
	"fmt"
	"strconv"
)

// Customer is somebody the made-up shop sells to. All members may be empty.
type Customer struct {
	ContactID    string // the CRM's id, in customcrm-contactid
	MemberNumber string
	Email        string
	Phone        string
	NameFirst    string
	NameLast     string
	Address      string
	Zip          string
	City         string
}

// numerals name the made-up customers; there are as many as there are names.
var numerals = [...]struct{ name, mail string }{
	{"Ett", "ett"},
	{"Två", "tva"},
	{"Tre", "tre"},
	{"Fyra", "fyra"},
	{"Fem", "fem"},
	{"Sex", "sex"},
	{"Sju", "sju"},
	{"Åtta", "atta"},
	{"Nio", "nio"},
	{"Tio", "tio"},
	{"Elva", "elva"},
	{"Tolv", "tolv"},
	{"Tretton", "tretton"},
	{"Fjorton", "fjorton"},
	{"Femton", "femton"},
	{"Sexton", "sexton"},
	{"Sjutton", "sjutton"},
	{"Arton", "arton"},
	{"Nitton", "nitton"},
	{"Tjugo", "tjugo"},
}

// The Rule stand-in's seed has the first four customers, with these ids. The
// others carry ids that it neither has nor ever gives out, as after a change of
// CRM: they are found by email or phone.
const (
	seeded         = 4
	firstSeededID  = 255934461
	firstUnknownID = 255900001
)

// DefaultCustomers returns the twenty made-up customers of the shop, Kund Ett
// to Kund Tjugo, with phones from +46701740605. The first four are those of the
// Rule stand-in's seed.
func DefaultCustomers() []Customer {
	all := make([]Customer, len(numerals))
	for i, n := range numerals {
		contactID := firstUnknownID + i
		if i < seeded {
			contactID = firstSeededID + i
		}
		all[i] = Customer{
			ContactID:    strconv.Itoa(contactID),
			MemberNumber: strconv.Itoa(100001 + i),
			Email:        "kund." + n.mail + "@example.com",
			Phone:        fmt.Sprintf("+467017406%02d", 5+i),
			NameFirst:    "Kund",
			NameLast:     n.name,
			Address:      fmt.Sprintf("Exempelgatan %d", i+1),
			Zip:          fmt.Sprintf("111%02d", 10+i),
			City:         []string{"Stockholm", "Göteborg", "Malmö"}[i%3],
		}
	}
	return all
}

// phones is how many made-up phone numbers there are: +46701740605 to
// +46701740699, which are reserved for examples.
const phones = 95

// MakeCustomers returns n made-up customers: DefaultCustomers and, after them,
// ones whose name is a number. Those after the 95th have no phone. No seed of
// the Rule stand-in has the ids of those after the fourth.
func MakeCustomers(n int) []Customer {
	all := DefaultCustomers()
	for i := len(all); i < n; i++ {
		c := Customer{
			ContactID:    strconv.Itoa(firstUnknownID + i),
			MemberNumber: strconv.Itoa(100001 + i),
			Email:        fmt.Sprintf("kund.%05d@example.com", i+1),
			NameFirst:    "Kund",
			NameLast:     strconv.Itoa(i + 1),
		}
		if i < phones {
			c.Phone = fmt.Sprintf("+467017406%02d", 5+i)
		}
		all = append(all, c)
	}
	return all[:max(n, 0)]
}

// product is something the shop sells. Prices are net, per unit; they are
// chosen so that the price on the shelf is a whole number of kronor.
type product struct {
	id         int64
	name       string
	sku        string
	attributes string
	group      string
	vat        int64 // percent
	net        ore
	unit       string // "kg" for weighed goods, else ""
}

var products = [...]product{
	{501, "Merino Sweater", "SW-100-M", "Color: Navy, Size: M", "Common Goods", 25, 63920, ""},
	{502, "Wool Socks", "SO-200-39", "Size: 39-42", "Common Goods", 25, 6392, ""},
	{510, "Rain Jacket", "JA-300-L", "Size: L", "Common Goods", 25, 80000, ""},
	{515, "Linen Shirt", "SH-110-S", "Color: White, Size: S", "Common Goods", 25, 39920, ""},
	{520, "Canvas Tote", "BA-040", "", "Accessories", 25, 15920, ""},
	{531, "Bärnsten Mug, 3 dl", "MU-003", "Color: Amber", "Home", 25, 11920, ""},
	{611, "Trail Guide", "BK-001", "", "Books", 6, 20000, ""},
	{612, "Map \"Norra leden\"", "BK-014", "", "Books", 6, 15000, ""},
	{720, "Coffee Beans", "CF-250", "", "Food", 12, 5000, ""},
	{721, "Dark Chocolate", "CH-070", "", "Food", 12, 2500, ""},
	{722, "Loose Tea", "TE-KG", "", "Food", 12, 40000, "kg"},
}

func productBySKU(sku string) (product, bool) {
	for _, p := range products {
		if p.sku == sku {
			return p, true
		}
	}
	return product{}, false
}

// register is a till. An unregistered one has no key yet.
type register struct {
	id        string
	key       string
	warehouse int64
}

var registers = [...]register{
	{"{5E6F7A8B-0000-4000-8000-00000000BBBB}", "SII0000001500001", 4},
	{"{5E6F7A8B-0000-4000-8000-00000000BB02}", "SII0000001500002", 4},
	{"{5E6F7A8B-0000-4000-8000-00000000DDDD}", "SII0000001500003", 5},
	{"{5E6F7A8B-0000-4000-8000-00000000EEEE}", "", 5},
}

// tills is how many registers sell; those after them are not registered.
const tills = 3

// staff are the people at the tills.
var staff = [...]struct{ id, externalID string }{
	{"{0A1B2C3D-0000-4000-8000-00000000AAAA}", "1007"},
	{"{0A1B2C3D-0000-4000-8000-00000000CCCC}", "1012"},
}

// store is a shop in a street, with the warehouse its orders are booked on.
type store struct {
	id         int64
	warehouse  int64
	externalID string
	name       string
	city       string
}

var stores = [...]store{
	{1, 4, "200", "Example Concept Store", "Stockholm"},
	{2, 5, "201", "Example Outlet", "Göteborg"},
}

// webWarehouse is the warehouse of web orders. It belongs to no store.
const webWarehouse = 9

func storeOf(warehouse int64) (store, bool) {
	for _, s := range stores {
		if s.warehouse == warehouse {
			return s, true
		}
	}
	return store{}, false
}

// site is one of the account's sites: tills and the first web shop sell on
// site 1, a second web shop on site 2.
type site struct {
	guid    string
	eshopID int64
	server  string
}

var sites = [...]site{
	{"{7C3B1A20-0000-4000-8000-000000000001}", 1, "shop.example.com"},
	{"{7C3B1A20-0000-4000-8000-000000000002}", 2, "outlet.example.com"},
}

func address(city string) []member {
	return []member{
		{"address", "Exempelgatan 1"},
		{"address2", ""},
		{"zip", "11111"},
		{"city", city},
		{"state", ""},
		{"countryid", "SE"},
	}
}

func siteObjects() []object {
	all := make([]object, 0, len(sites))
	for _, s := range sites {
		all = append(all, object{
			{"siteid", s.guid},
			{"protocol", "https"},
			{"server", s.server},
			{"abspath", "/"},
			{"siteurl", "https://" + s.server + "/"},
			{"eshopid", s.eshopID},
		})
	}
	return all
}

func warehouseObjects() []object {
	var all []object
	add := func(id int64, storeID any, name, city, externalID string) {
		o := object{
			{"warehouseid", id},
			{"warehousetype", 10},
			{"usetype", 10},
			{"storeid", storeID},
			{"sellable", true},
			{"currencycode", "SEK"},
			{"name", name},
		}
		o = append(o, address(city)...)
		all = append(all, append(o, member{"externalid", externalID}))
	}
	for _, s := range stores {
		add(s.warehouse, s.id, s.name, s.city, s.externalID)
	}
	add(webWarehouse, nil, "Example Web Warehouse", "Borås", "900")
	return all
}

func storeObjects() []object {
	all := make([]object, 0, len(stores))
	for _, s := range stores {
		o := object{
			{"storeid", s.id},
			{"eshopid", 1},
			{"storetype", 10 * s.id}, // 10 store, 20 outlet
			{"name", s.name},
			{"externalid", s.externalID},
			{"externalgroupid", "SE"},
			{"phone", ""},
			{"email", "store" + s.externalID + "@example.com"},
		}
		o = append(o, address(s.city)...)
		all = append(all, append(o,
			member{"latitude", nil},
			member{"longitude", nil},
			member{"nearby_stores", []int64{}},
			member{"tags", []string{}},
			member{"additional_data", map[string]string{}},
		))
	}
	return all
}

func registerObjects(unregistered bool) []object {
	all := make([]object, 0, len(registers))
	for _, r := range registers {
		if r.key == "" && !unregistered {
			continue
		}
		s, _ := storeOf(r.warehouse)
		o := object{
			{"registerid", r.id},
			{"manufacturerid", r.key},
			{"registerkey", r.key},
			{"company", "Example Shop AB"},
			{"companyid", ""},
		}
		o = append(o, address(s.city)...)
		all = append(all, append(o,
			member{"currencycode", "SEK"},
			member{"receiptlanguagetag", "sv"},
			member{"storesettingid", s.id},
			member{"warehouseid", r.warehouse},
			member{"salestaxgroupid", nil},
		))
	}
	return all
}

func settingsObject(siteID int64) object {
	return object{
		{"eshopid", siteID},
		{"timezone", "Europe/Stockholm"},
		{"currencycode", "SEK"},
		{"doroundoff", true},
		{"pricesstoredwithvat", true},
	}
}
