package desired

// Schedule is when a connector runs: "every 15m", "daily 07:00,13:00" or
// "cron 0 5 * * *", in a time zone.
type Schedule struct {
	Text string `json:"text"`
	Zone string `json:"zone,omitempty"` // IANA name; empty: UTC
}
