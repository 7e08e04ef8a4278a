CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `seal_due`()
    MODIFIES SQL DATA
BEGIN
  COMMIT AND NO CHAIN NO RELEASE;
  CALL seal_backlog(1000);
  SELECT size, head FROM chain_head WHERE id = 1;
END
