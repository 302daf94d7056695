package bonus

// Reasons are all reasons by code, in English and in Swedish.
func Reasons() map[string][2]string {
	all := map[string][2]string{}
	for code, r := range reasons {
		all[code] = [2]string{r.english, r.swedish}
	}
	return all
}
