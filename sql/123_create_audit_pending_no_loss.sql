-- A queued event leaves the queue only once it is in the trail. The first look finds the oldest event of that id through
-- the index alone, at two thirds of the cost; another of the same id may stand before it, so the second one looks at all.
CREATE DEFINER=`api_definer`@`localhost` TRIGGER `audit_pending_no_loss` BEFORE DELETE ON `audit_pending` FOR EACH ROW
IF NOT EXISTS (
  SELECT 1 FROM audit_events e
  WHERE e.seq = (
    SELECT MIN(m.seq) FROM audit_events m FORCE INDEX (tenant_event)
    WHERE m.tenant_id = OLD.tenant_id AND m.evt_id = OLD.evt_id
  ) AND e.payload = OLD.payload
) THEN
  IF NOT EXISTS (
    SELECT 1 FROM audit_events e
    WHERE e.tenant_id = OLD.tenant_id AND e.evt_id = OLD.evt_id AND e.payload = OLD.payload
  ) THEN
    SIGNAL SQLSTATE '45A01' SET MESSAGE_TEXT = 'the audit trail is append-only';
  END IF;
END IF
