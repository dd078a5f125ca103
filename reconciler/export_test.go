package reconciler

// Forget takes back that a generation was marked good, as if the daemon had
// died between the journal's commit and that.
func (s *Store) Forget(instance string, lastGood int) error {
	_, err := s.update(instance, func(m *memo) { m.LastGood = lastGood })
	return err
}

// CloseJournal makes every further entry of the apply in progress fail, as a
// full disk does.
func (r *Instance) CloseJournal() { _ = r.journal.file.Close() }
