-- A queued event leaves the queue only once it is in the trail.
CREATE DEFINER=`api_definer`@`localhost` TRIGGER `audit_pending_no_loss` BEFORE DELETE ON `audit_pending` FOR EACH ROW
IF NOT EXISTS (
  SELECT 1 FROM audit_events e
  WHERE e.tenant_id = OLD.tenant_id AND e.evt_id = OLD.evt_id AND e.payload = OLD.payload
) THEN
  SIGNAL SQLSTATE '45A01' SET MESSAGE_TEXT = 'the audit trail is append-only';
END IF
