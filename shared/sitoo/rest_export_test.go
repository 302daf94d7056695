package sitoo

var (
	// OutsideOnly is what the dialer asks about Sitoo's addresses.
	OutsideOnly = outsideOnly
	// Members and Elements are how answers are taken apart.
	Members, Elements = members, elements
)
