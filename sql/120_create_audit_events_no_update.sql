CREATE DEFINER=`api_definer`@`localhost` TRIGGER `audit_events_no_update` BEFORE UPDATE ON `audit_events` FOR EACH ROW
SIGNAL SQLSTATE '45A01' SET MESSAGE_TEXT = 'the audit trail is append-only'
